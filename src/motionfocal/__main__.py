"""``python -m motionfocal``."""

from motionfocal.cli import main

if __name__ == "__main__":
    main()
