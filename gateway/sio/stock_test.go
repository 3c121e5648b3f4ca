package sio

const stockEnv = "SIO_STOCK"

func serveStock() {}
