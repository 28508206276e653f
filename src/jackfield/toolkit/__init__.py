"""Tools of any number of servers, in a shape that every agent framework can be given."""
