"""`python -m examples.diabetes FOLDER` writes the example there and prints the path of its manifest."""

from examples.diabetes import build
from examples.run import main

main(build)
