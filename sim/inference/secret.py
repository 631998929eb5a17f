"""A server's key: read where the config says, shown nowhere."""

import os
from pathlib import Path
from typing import Any

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
                return Path(self._file).expanduser().read_text()
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

    def within(self, what: Any) -> bool:
        """Whether a config holds the key itself, which would be written down with it."""
        return self._value is not None and self._value in str(what)
