"""`bioseg doctor`: what bioseg finds on this machine and in this folder."""
