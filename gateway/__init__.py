"""The public REST API: judges credential, proof and shape; decides nothing about money."""
