"""The examples: list them, or start one.

python -m examples                    one line for each
python -m examples progrock --redis   start one; --help after its name tells its options
"""

import ast
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main(arguments):
    examples = known()
    if not arguments or arguments[0] in ("-h", "--help"):
        tell(examples)
        return 0
    name, *options = arguments
    if name not in examples:
        print(f"expected one of {', '.join(examples)}; got {name!r}", file=sys.stderr)
        return 2
    return os.execv(sys.executable, [sys.executable, str(HERE / name / "serve.py"), *options])


def known():
    """Each example's name, and the first line of what its serve.py says of itself."""
    files = sorted(HERE.glob("*/serve.py"))
    return {file.parent.name: ast.get_docstring(ast.parse(file.read_text())).partition("\n")[0] for file in files}


def tell(examples):
    print("The examples of delayserver, each with a page of its own. Start one with: python -m examples NAME\n")
    for name, line in examples.items():
        print(f"  {name:<18} {line}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
