"""`python -m maquette`: the command line, also under torchrun and srun."""

from .pipelines.cli import main

if __name__ == "__main__":
    main()
