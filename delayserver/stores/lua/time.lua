-- -> the server's clock: {seconds since the epoch, microseconds}
return redis.call('TIME')
