"""The stages of a dub, one file per stage word, one public function each."""
