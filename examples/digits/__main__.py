"""`python -m examples.digits FOLDER` writes the example there and prints the path of its manifest."""

from examples.digits import build
from examples.run import main

main(build)
