"""A tool in Python: counts the words, the sentences and the most used words of a text."""

# Only what is imported when the component is built is in it, and `Counter` would import this when it is first needed.
import heapq  # noqa: F401
import json
import re
from collections import Counter

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.tool import Definition, Error_InvalidArguments, Error_NoSuchTool, Invocation

PARAMETERS = {
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "most": {"type": "integer", "minimum": 0, "maximum": 20, "description": "How many words to list."},
    },
    "required": ["text"],
    "additionalProperties": False,
}

OUTPUT = {
    "type": "object",
    "properties": {
        "words": {"type": "integer"},
        "sentences": {"type": "integer"},
        "most_used": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["words", "sentences", "most_used"],
}


def statistics(text: str, most: int) -> dict:
    words = re.findall(r"\w+", text.lower())
    sentences = [part for part in re.split(r"[.!?]+(?:\s|$)", text) if part.strip()]
    most_used = [word for word, _count in Counter(words).most_common(most)]
    return {"words": len(words), "sentences": len(sentences), "most_used": most_used}


class Tool(exports.Tool):
    """The interface `waggle:tool/tool`. What is raised as `Err` is the error of the interface."""

    def describe(self) -> list[Definition]:
        return [
            Definition(
                name="text_statistics",
                description="Counts the words and sentences of a text, and lists its most used words.",
                parameters=json.dumps(PARAMETERS),
                output=json.dumps(OUTPUT),
                side_effects=False,
                idempotent=True,
                needs_approval=False,
            )
        ]

    def call(self, invocation: Invocation) -> str:
        if invocation.name != "text_statistics":
            raise Err(Error_NoSuchTool())
        arguments = json.loads(invocation.arguments)
        if not arguments["text"].strip():
            raise Err(Error_InvalidArguments("the text is empty"))
        return json.dumps(statistics(arguments["text"], arguments.get("most", 3)))
