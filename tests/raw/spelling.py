"""A toy model for the real cog server, which says one letter after the other."""

import time
from collections.abc import Iterator
from pathlib import Path

from cog import BasePredictor, Input, streaming


class Predictor(BasePredictor):
    @streaming
    def predict(
        self, text: str = Input(description="What to spell"), receipts: str = Input(description="A folder")
    ) -> Iterator[str]:
        """Each letter waits for the file that says that the one before was received."""
        for number, letter in enumerate(text):
            yield letter
            while not Path(receipts, str(number)).exists():
                time.sleep(0.01)
