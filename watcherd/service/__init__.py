"""watcherd at home in systemd: what is put in place, what is taken away again, and the files of the package for it."""
