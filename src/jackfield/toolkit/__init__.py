"""Tools of any number of servers, in a form that every agent framework can use."""
