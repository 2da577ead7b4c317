alice
bob
dmarc
