"""Data sets as numpy arrays. Importing this package loads neither numpy nor a reader.

An entry's option "path" is False where what follows the colon names no file or folder.
"""

from nasgen.registry import Entry

ENTRIES = (
    Entry(
        "digits",
        "nasgen.data.digits:load",
        "digits: 1,797 grey images of 8x8, shipped with scikit-learn",
        reference="Alpaydin & Kaynak 1998",
    ),
    Entry(
        "mnist",
        "nasgen.data.idx:load",
        "mnist:DIR, idx files: MNIST, Fashion-MNIST, KMNIST, EMNIST",
        reference="LeCun 1998",
    ),
    Entry(
        "cifar10",
        "nasgen.data.cifar:load",
        "cifar10:DIR, the binary version: data_batch_1.bin to 5, test_batch.bin",
        reference="Krizhevsky 2009",
    ),
    Entry(
        "folder",
        "nasgen.data.folder:load",
        "folder:DIR, image files in DIR/CLASS or DIR/train/CLASS and DIR/test/CLASS",
    ),
    Entry(
        "npz",
        "nasgen.data.npz:load",
        "npz:FILE, arrays x_train, y_train, x_test, y_test or x, y; lengths for sequences",
    ),
    Entry(
        "csv",
        "nasgen.data.table:load",
        "csv:FILE?target=COLUMN, a table with a header; &shape=CxHxW for images",
    ),
    Entry(
        "reber",
        "nasgen.data.reber:load",
        "reber or reber:n=2000&seed=1, strings of the Reber grammar and others; &negatives=near",
        reference="Reber 1967; Stier 2021, section 4.2",
        options={"path": False},
    ),
    Entry(
        "reber-embedded",
        "nasgen.data.reber:load_embedded",
        "strings whose second symbol decides about the last but one; n and seed as for reber",
        reference="Hochreiter & Schmidhuber 1997",
        options={"path": False},
    ),
    Entry(
        "array",
        "nasgen.data.arrays:load",
        "array:DIGEST, arrays that a run was given in Python and keeps in its folder",
    ),
)
