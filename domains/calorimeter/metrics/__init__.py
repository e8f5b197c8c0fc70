"""Physics metrics of generated against reference showers, each with error, noise floor and definition.

Definitions follow the CaloChallenge (arXiv:2410.21611) unless a metric says otherwise. Except where a definition
says so, the figure is that of generated showers against each half of the reference, averaged, and the floor is that
of one half against the other, all parts being equally large.
"""
