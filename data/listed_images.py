"""Images in files of their own, with a list that says what they are."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from model_patching.data.checksums import folder_checksum, sha256, sha256_of_all
from model_patching.data.source import BadRecord, Source, SourceImage

ROWS_PER_PART = 1000


class Row(NamedTuple):
    """A row of the list, from 1, and what it says; `image` is the file, relative to the folder of the images.

    `further` has the names and values of what is kept besides.
    """

    row: int
    image: str
    label: int
    subgroup: int
    split: str = ""  # not drawn yet
    further: tuple[tuple[str, int | str], ...] = ()


class ListedImages(Source):
    """The images that the rows of a list name; a part is some rows. An image's id is its path in the folder.

    A subclass reads the list when it is made and sets these.

    Attributes:
        _images: folder of the images.
        _list: path of the list.
        _other_lists: paths of the files that belong to the list.
        _rows: of the list, in its order; a BadRecord where a row can't be used.
    """

    _images: Path
    _list: str
    _other_lists: tuple[str, ...] = ()
    _rows: list[Row | BadRecord]

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What decides how the list is read and what the images become, as JSON values."""

    def inputs(self) -> dict[str, Any]:
        """The settings, and checksums of each list and of all images together."""
        names = sorted({row.image for row in self._rows if isinstance(row, Row)})
        checksums = sha256_of_all([self._images / name for name in names])
        return {
            **self.settings(),
            "files": {
                **{Path(path).name: sha256(path) for path in (self._list, *self._other_lists)},
                "images": folder_checksum(zip(names, checksums, strict=True)),
            },
        }

    def parts(self) -> list[str]:
        """Some rows each."""
        return [str(start) for start in range(0, len(self._rows), ROWS_PER_PART)]

    def survey(self, part: str) -> Iterator[SourceImage | BadRecord]:
        """The rows of a part, and whether their files are there."""
        for row in self._part(part):
            if isinstance(row, Row) and not (self._images / row.image).is_file():
                yield BadRecord(self._place(row), f"there is no file {row.image!r} in {self._images}")
            else:
                yield row if isinstance(row, BadRecord) else self._image(row)

    def read(self, part: str) -> Iterator[SourceImage | BadRecord]:
        """The images of a part."""
        for row in self._part(part):
            if isinstance(row, BadRecord):
                yield row
                continue
            try:
                yield self._image(row, (self._images / row.image).read_bytes())
            except OSError as error:
                yield BadRecord(self._place(row), f"{row.image!r} can't be read: {error.strerror}")

    def _part(self, part: str) -> Sequence[Row | BadRecord]:
        return self._rows[int(part) : int(part) + ROWS_PER_PART]

    def _place(self, row: Row) -> str:
        return f"{self._list}, row {row.row}"

    def _image(self, row: Row, image: bytes = b"") -> SourceImage:
        place = self._place(row)
        return SourceImage(row.split, row.label, row.subgroup, row.image, place, image, dict(row.further))
