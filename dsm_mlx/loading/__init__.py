"""A model's name -> weights in modules, every tensor accounted for."""
