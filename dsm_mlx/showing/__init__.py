"""Results for people to look at: `page` makes HTML for notebooks, `plot` a picture."""
