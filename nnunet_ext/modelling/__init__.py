"""How the models that ship with the package are made: trained, packed, scored and described."""

__all__: list[str] = []
