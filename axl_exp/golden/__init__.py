"""Golden configs: what every config is on every hardware, kept in the repository to be reviewed.

configs_golden/<config>/config.txt            the facts of the config, and the recipe as flat text
configs_golden/<config>/params.txt            one line per parameter
configs_golden/<config>/mesh/<selector>.txt   only what the mesh rule makes of it there

A variant (`fuji-7B-v2-single-host`) stores what differs from its base (`fuji-7B-v2`). The format is
in docs/golden.md.
"""
