"""What a with statement closes."""

from typing import Self


class Closing:
    """Closed by :meth:`close`, or at the end of a with statement, errors or not."""

    def close(self) -> None:
        """Lets go of what is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
