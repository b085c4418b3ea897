"""Gets the public documents of the labelled set from Debian packages, and reads the labels.

    python3 bench/retrieval/documents.py fetch FOLDER
    python3 bench/retrieval/documents.py check FOLDER

`fetch` needs `apt-get` and `dpkg-deb` (Debian 12; no root). It leaves one file for each chapter, as `FOLDER/en/NAME.html`
and `FOLDER/zh/NAME.html`, unchanged, and notes the packages' versions in `FOLDER/versions.json`. `check` tells each label
whose passage is not in its document: with another version of a package that can be.
"""

import argparse
import html.parser
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import typing

LABELS = pathlib.Path(__file__).with_name("labels")
LANGUAGES = ("en", "zh")


class Source(typing.NamedTuple):
    """Chapters of one book in one language."""

    language: str
    package: str
    version: str
    folder: str
    """Where its chapters are in the package."""
    suffix: str
    """What the files' names end in; it is replaced by `.html`."""


SOURCES = (
    Source("en", "debian-faq", "11.1", "usr/share/doc/debian/FAQ", ".en.html"),
    Source("en", "maint-guide", "1.2.53", "usr/share/doc/maint-guide/html", ".en.html"),
    Source("en", "debian-reference-en", "2.100", "usr/share/debian-reference", ".en.html"),
    Source("en", "developers-reference", "12.18", "usr/share/developers-reference", ".html"),
    Source("zh", "debian-faq-zh-cn", "11.1", "usr/share/doc/debian/FAQ/zh-cn", ".zh-cn.html"),
    Source("zh", "maint-guide-zh-cn", "1.2.53", "usr/share/doc/maint-guide-zh-cn/html", ".zh-cn.html"),
    Source("zh", "debian-reference-zh-cn", "2.100", "usr/share/debian-reference", ".zh-cn.html"),
)

LEFT_OUT = {"index", "search", "developers-reference"}
"""Tables of contents: they name every subject and answer nothing."""


class Label(typing.NamedTuple):
    """A question, and where it is answered. One without passages is answered nowhere."""

    language: str
    question: str
    passages: tuple
    """(document, passage): each is an answer on its own."""


class Text(html.parser.HTMLParser):
    """The text of a page, without its tags."""

    def __init__(self):
        super().__init__()
        self.parts = []
        self.hidden = 0

    def handle_starttag(self, tag, attributes):
        self.hidden += tag in ("script", "style")

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.hidden:
            self.parts.append(data)


def text_of(page):
    text = Text()
    text.feed(page)
    return "".join(text.parts)


def key(text):
    """What is compared of a text: letters and digits. Chunks are cut from Markdown or plain text, passages are from pages,
    and both differ in spaces, quotation marks and marks of emphasis."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def labels(language):
    """The labels of a language, in the order of the file."""
    found = []
    path = LABELS / f"{language}.jsonl"
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            one = json.loads(line)
            passages = tuple((answer["document"], answer["passage"]) for answer in one["answers"])
            found.append(Label(language, one["question"], passages))
        except (ValueError, KeyError, TypeError) as problem:
            raise SystemExit(f"{path}:{number}: {problem!r}")
    return found


def fetch_package(source, folder):
    """The unpacked package's folder, and the version that was to be had."""
    for wanted in (f"{source.package}={source.version}", source.package):
        done = subprocess.run(["apt-get", "download", wanted], cwd=folder, capture_output=True, text=True)
        if done.returncode == 0:
            break
    else:
        raise SystemExit(f"{source.package} cannot be downloaded:\n{done.stderr}")
    archive = next(folder.glob(f"{source.package}_*.deb"))
    unpacked = folder / source.package
    subprocess.run(["dpkg-deb", "-x", archive, unpacked], check=True)
    field = subprocess.run(["dpkg-deb", "-f", archive, "Version"], check=True, capture_output=True, text=True)
    return unpacked, field.stdout.strip()


def copy_chapters(source, unpacked, folder):
    target = folder / source.language
    target.mkdir(parents=True, exist_ok=True)
    book = source.package.removesuffix("-zh-cn").removesuffix("-en")
    count = 0
    for page in sorted((unpacked / source.folder).glob(f"*{source.suffix}")):
        chapter = page.name.removesuffix(source.suffix)
        if chapter not in LEFT_OUT and not page.is_symlink():
            shutil.copyfile(page, target / f"{book}.{chapter}.html")
            count += 1
    return count


def fetch(folder):
    versions = {}
    for source in SOURCES:
        with tempfile.TemporaryDirectory() as temporary:
            unpacked, version = fetch_package(source, pathlib.Path(temporary))
            chapters = copy_chapters(source, unpacked, folder)
        versions[source.package] = version
        note = "" if version == source.version else f" (labels were made for {source.version}: run `check`)"
        print(f"{source.package} {version}: {chapters} chapters{note}")
    (folder / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")


def check(folder):
    """Whether every passage is in its document, and no question twice. Exits with 1 if not."""
    wrong = 0
    for language in LANGUAGES:
        pages = {
            page.name: key(text_of(page.read_text(encoding="utf-8"))) for page in (folder / language).glob("*.html")
        }
        seen, unanswered = set(), 0
        for label in labels(language):
            problems = [f"no {name}" for name, _ in label.passages if name not in pages]
            problems += [
                f"not in {name}: {passage}"
                for name, passage in label.passages
                if name in pages and key(passage) not in pages[name]
            ]
            problems += ["asked twice"] if label.question in seen else []
            seen.add(label.question)
            unanswered += not label.passages
            for problem in problems:
                print(f"{language}: {label.question}\n    {problem}")
            wrong += len(problems)
        print(f"{language}: {len(pages)} documents, {len(seen) - unanswered} questions and {unanswered} unanswerable")
    sys.exit(1 if wrong else 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("fetch", "check"))
    parser.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()
    {"fetch": fetch, "check": check}[arguments.command](arguments.folder)


if __name__ == "__main__":
    main()
