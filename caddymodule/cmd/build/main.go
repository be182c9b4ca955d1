package main

import _ "github.com/caddyserver/xcaddy"

func main() {}
