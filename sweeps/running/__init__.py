"""How cells are computed: shards of them as Ray Tune trials, or one after the other in this process."""
