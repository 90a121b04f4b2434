"""Write data/registry.csv from the sets at hand: ISTAPP_DATA=FOLDER python data/make_registry.py

Rows of sets that are not at hand stay as they are. For whoever adds a set; nobody else needs it.
"""

import csv

from istapp.basics.paths import write_atomically
from istapp.images import datasets, registry
from istapp.images.image import image_files, read_image


def rows(dataset: registry.Dataset) -> list[tuple]:
    """Return the rows of a set, read from its folder where it is at hand."""
    folder = datasets.locate(dataset)
    if folder is None:
        return [(dataset.name, *entry) for entry in dataset.entries]
    found = [(path.name, dataset.recipe(read_image(path))) for path in image_files(folder)]
    return [(dataset.name, file, *image.size, 3 if image.colour else 1, image.hash) for file, image in found]


def main() -> None:
    """Write the table, each set in the order of its file names."""
    table = [row for dataset in registry.SETS.values() for row in rows(dataset)]

    def write(path) -> None:
        with path.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["set", *registry.Entry._fields])
            writer.writerows(table)

    write_atomically(registry.REGISTRY, write)


if __name__ == "__main__":
    main()
