"""Who speaks and what: voices and sentences in eight languages, some of both kept aside for the held-out split."""

from collections.abc import Mapping

import numpy as np

from model.training.shards import Split
from model.training.synthetic.speech import Speaker

SENTENCES: Mapping[str, tuple[str, ...]] = {
    "en-us": (
        "Please bring my mother a cup of warm milk before bedtime.",
        "The bus to Boston leaves from platform number five.",
        "We all thought the thin thief was a thoughtful man.",
        "Who would have known that the moon was so blue?",
        "Five brave wolves moved over the frozen river.",
        "Open the window, I want to hear the rain.",
        "My brother plays the piano, but he prefers the drums.",
        "She sells fresh fish at the shop near the harbour.",
        "How do you do? It is nice to meet you at last.",
        "A big brown bear and a small black puppy sat by the pump.",
        "Every evening he opens an old book about ancient maps.",
        "You should choose the juicy orange, not the yellow one.",
        "Mix the butter with the flour and add four eggs.",
        "Nobody believed that the bubble would ever burst.",
        "Yesterday we walked along the beach for hours.",
        "Take a deep breath, count to ten, and smile.",
    ),
    "en": (
        "Could I have another piece of that lovely apple pie?",
        "The weather in Manchester is rather wet in November.",
        "Put the blue box behind the bathroom door, please.",
        "My father farms four hundred acres above the valley.",
        "They measured the temperature with the utmost care.",
        "Peter promised to pay for both umbrellas.",
        "What on earth are you going to do with all those eggs?",
        "The orchestra played a slow and gloomy march.",
        "I am sure the museum opens on Mondays at half past nine.",
        "Watch out for the wasps when you eat in the garden.",
        "Mabel baked a hundred buns before breakfast.",
        "Both of them vowed to give up coffee forever.",
    ),
    "de": (
        "Guten Morgen, mein Bruder baut ein Haus am Meer.",
        "Wir haben über fünfzig Bücher im Wohnzimmer.",
        "Bitte bringen Sie mir eine Tasse Kaffee ohne Milch.",
        "Am Montag fahren wir mit der Bahn nach Hamburg.",
        "Der alte Baum wirft einen breiten Schatten auf den Weg.",
        "Möchtest du morgen mit uns ins Museum gehen?",
        "Vier Affen fanden Waffeln und warfen sie ins Wasser.",
        "Die Blumen blühen schön in eurem Garten.",
        "Ich habe heute leider überhaupt keine Zeit.",
        "Papa malt ein Bild von Mama und dem Baby.",
        "Am Abend öffnen wir alle Fenster und hören die Grillen.",
        "Das Wetter bleibt bis übermorgen warm und trocken.",
    ),
    "fr": (
        "Bonjour madame, je voudrais deux baguettes et un pain au beurre.",
        "Mon ami habite une petite maison près de la mer.",
        "Où avez-vous trouvé ce beau parapluie bleu?",
        "Le boulanger ouvre sa boutique à six heures du matin.",
        "Nous avons mangé une soupe aux pommes de terre.",
        "Tu peux venir au bureau vendredi après midi.",
        "Les enfants jouent au ballon sous la pluie.",
        "Il faut beaucoup de patience pour apprendre la musique.",
        "Ma mère prépare un bon café pour mon père.",
        "Vive le vent, vive la fête, et vive le printemps!",
    ),
    "es": (
        "Buenos días, me gustaría comprar una botella de agua.",
        "Mi hermana vive en un pueblo muy bonito de la montaña.",
        "El barco blanco sale del puerto a las ocho.",
        "Pablo bebe un vaso de vino con su amigo Manuel.",
        "Abra la ventana, por favor, hace mucho calor.",
        "Nunca había visto una luna tan grande y tan amarilla.",
        "Los pájaros vuelan sobre el viejo puente de piedra.",
        "Mamá prepara una sopa de pollo para todos.",
        "Quiero aprender a tocar la guitarra este verano.",
        "Ayer fuimos al mercado y compramos fruta fresca.",
    ),
    "it": (
        "Buongiorno, vorrei un biglietto per Bologna, per favore.",
        "Mia nonna prepara sempre una buona minestra.",
        "Il bambino beve un bicchiere di latte prima di dormire.",
        "Domani mattina andiamo al mare con gli amici.",
        "Il vecchio ponte attraversa un fiume molto largo.",
        "Puoi aprire la porta? Ho le mani piene di mele.",
        "La musica era bella, ma un poco troppo forte.",
        "Abbiamo visto una volpe rossa nel bosco.",
        "Vuoi un gelato al limone oppure alla fragola?",
        "Ogni mattina il panettiere apre alle cinque.",
    ),
    "pl": (
        "Dzień dobry, proszę dwa bilety do muzeum.",
        "Moja mama piecze bardzo dobry chleb.",
        "Wczoraj byliśmy na wielkim targu w mieście.",
        "Biały pies biega po małym parku przy rzece.",
        "Jutro będzie ciepło, ale może padać deszcz.",
        "Pan Paweł ma piękny ogród pełen jabłoni.",
        "Otwórz okno, bo jest tu bardzo gorąco.",
        "Babcia opowiada wnukom stare bajki.",
    ),
    "pt-br": (
        "Bom dia, eu queria um café e um pão com manteiga.",
        "Minha mãe mora numa cidade pequena perto do mar.",
        "O ônibus para a praia sai às nove da manhã.",
        "Pedro comprou um livro bonito para o amigo.",
        "Você pode abrir a porta, por favor?",
        "A banda vai tocar uma música famosa hoje à noite.",
        "Fomos ao mercado e compramos bananas e uvas.",
        "O menino bebe um copo de água fria.",
    ),
}
"""What is said, by espeak-ng's name of the language. Every sentence has lips to close."""

_HELD_OUT_EVERY = 5

VOICES: Mapping[Split, tuple[str, ...]] = {
    Split.TRAIN: ("m1", "m3", "m4", "m5", "m7", "f1", "f2", "f4", "anika", "adam", "linda", "steph", "max", "klatt2"),
    Split.HELDOUT: ("m2", "f3", "belinda", "michel"),
}
"""Variants of espeak-ng's voices: pitch, formants, breath. No variant is in both splits."""


def sentences(language: str, split: Split) -> tuple[str, ...]:
    """The sentences of a language for one split: every fifth is held out."""
    return tuple(
        sentence
        for index, sentence in enumerate(SENTENCES[language])
        if (index % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1) == (split is Split.HELDOUT)
    )


def draw_speaker(rng: np.random.Generator, split: Split) -> tuple[str, Speaker]:
    """A language and somebody who speaks it, slow or fast, low or high."""
    language = str(rng.choice(list(SENTENCES)))
    voice = f"{language}+{rng.choice(VOICES[split])}"
    return language, Speaker(voice, int(rng.integers(115, 195)), int(rng.integers(25, 75)))


def draw_text(rng: np.random.Generator, language: str, split: Split) -> str:
    """A sentence or, as often, words of the split's sentences in any order: sounds meet that no sentence joins."""
    pool = sentences(language, split)
    if rng.uniform() < 0.5:
        return str(rng.choice(pool))
    words = " ".join(pool).translate(str.maketrans("", "", ".,?!")).split()
    return " ".join(rng.choice(words, size=int(rng.integers(4, 9))).tolist())
