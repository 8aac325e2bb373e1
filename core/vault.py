"""Keeps secrets unreadable where they have to be stored: whoever reads Redis or its backup learns nothing."""

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from core.errors import SecretKeyChanged


class Vault:
    """
    Seals texts with a key made from HIGHSYNC_SECRET_KEY (Fernet: AES-128-CBC with HMAC-SHA256).

    `purpose` gives each use a key of its own, so that what is sealed for one cannot be opened by another.
    """

    def __init__(self, secret_key: SecretStr, purpose: str) -> None:
        derivation = HKDF(SHA256(), length=32, salt=None, info=f"highsync: {purpose}".encode())
        key = derivation.derive(secret_key.get_secret_value().encode())
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def seal(self, text: str) -> str:
        """The text as a token: another one each time."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, token: str) -> str:
        """The text again. SecretKeyChanged when it was sealed with another key, or changed."""
        try:
            return self._fernet.decrypt(token.encode()).decode()
        except InvalidToken as error:
            raise SecretKeyChanged("A secret was kept under another HIGHSYNC_SECRET_KEY.") from error
