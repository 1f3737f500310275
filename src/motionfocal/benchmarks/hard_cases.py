"""What makes items of TI2V-Bench hard: our annotation, made by looking at every picture and text, not the authors'.

The authors name two hard cases, several objects and a new object, without saying which items are meant. We say:

- *several objects*: the picture shows several things of one kind, and the text says that one of them does something.
- *new object*: the text names a thing that the picture does not show, so that it must come into view. Weather that
  has no shape (wind), and what a thing shown turns into (a flame grows, a light turns green), do not count.
"""

SEVERAL_OBJECTS, NEW_OBJECT = "several objects", "new object"

_HARD: dict[str, dict[str, tuple[str, ...]]] = {
    # tag: scenario: what its texts say
    SEVERAL_OBJECTS: {
        "balloon": ("the red balloon", "the blue balloon", "the yellow balloon"),
        "bulbs": ("the red light bulb", "the blue light bulb", "the green light bulb"),
    },
    NEW_OBJECT: {
        "butterfly": ("a second butterfly",),
        "dog": ("frisbee",),
        "fish": ("bubbles",),
        "volcano": ("a plane", "lightning"),
    },
}


def tags_of(scenario: str, text: str) -> frozenset[str]:
    """The tags of an item of TI2V-Bench."""
    return frozenset(
        tag for tag, cases in _HARD.items() if any(said in text.lower() for said in cases.get(scenario, ()))
    )
