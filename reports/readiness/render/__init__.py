"""The card in the forms people and machines read. Everything here is made from the published document alone."""
