"""Golden configs: the resolved text of every config, kept in the repository to be reviewed.

configs_golden/<config>/config.txt            the recipe, for any hardware
configs_golden/<config>/mesh/<selector>.txt   only what the mesh rule makes of it there
"""
