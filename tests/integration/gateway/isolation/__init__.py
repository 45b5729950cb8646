"""The walls between tenants, seen through every route that there is."""
