"""One file a model family; a family is known by the name of its file.

Each file holds one class ``Family(FamilySettings)``: the family's settings, as they stand under ``model:`` in a config,
and ``build``, which makes the ``VideoModel``. See docs/adding-a-base.md.
"""
