"""A server's key: read where the config says, shown nowhere."""

import os
import re
from pathlib import Path

from sim.errors import Refusal

MASK = "***"
SHORTEST = 6  # characters: what is shorter would be masked out of common words


class Secret:
    """A key from the environment or from a file; neither is read before it is needed.

    Args:
        env: environment variable; None: no key.
        file: path of a file that holds nothing else; used instead of the variable where given.
    """

    def __init__(self, env: str | None, file: str | None):
        if env is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(env)):
            # It might be the key itself.
            raise Refusal("key_env must be the name of an environment variable, or null")
        self._env, self._file = env, file
        self._value: str | None = None

    @property
    def where(self) -> str:
        """Where the key is looked for, for sentences."""
        if self._file is not None:
            return f"the file {self._file} (model.key_file)"
        return f"the environment variable {self._env} (model.key_env)"

    @property
    def wanted(self) -> bool:
        """Whether the config names a key at all."""
        return self._env is not None or self._file is not None

    def read(self) -> str | None:
        """The key, None where none is wanted.

        Raises:
            Refusal: there is none where the config says.
        """
        if self._value is None and self.wanted:
            self._value = self._found().strip()
            if len(self._value) < SHORTEST or not (
                self._value.isascii() and self._value.isprintable()
            ):
                raise Refusal(
                    f"a key is one line of {SHORTEST} ASCII characters or more, that in "
                    f"{self.where} is not; model.key_env=null sends none"
                )
        return self._value

    def _found(self) -> str:
        if self._file is not None:
            try:
                return Path(self._file).expanduser().read_text("utf-8-sig")
            except (OSError, UnicodeDecodeError) as fault:
                raise Refusal(f"the key in {self.where} cannot be read: {fault}") from fault
        if (value := os.environ.get(self._env or "")) is None:
            raise Refusal(
                f"a key must be in {self.where}, which is not set; model.key_env=null sends none"
            )
        return value

    def mask(self, text: str) -> str:
        """The text without the key."""
        return text if self._value is None else text.replace(self._value, MASK)

    def mask_bytes(self, content: bytes) -> bytes:
        """The same of what came over the wire."""
        return content if self._value is None else content.replace(self._value.encode(), b"***")

    def within(self, text: str) -> bool:
        """Whether a text holds the key."""
        return self._value is not None and self._value in text
