"""SERVICE: carries one request from arrival to answer; never decides by itself."""
