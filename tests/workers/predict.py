"""A toy model for the real cog server."""

import time

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(
        self,
        text: str = Input(description="What to shout"),
        delay: float = Input(description="Seconds", default=0.0),
        image: str = Input(description="Where a picture is", default=""),
    ) -> str:
        ends = time.monotonic() + delay
        while time.monotonic() < ends:
            time.sleep(0.02)
        if text == "boom":
            raise ValueError("it went boom")
        return text.upper()
