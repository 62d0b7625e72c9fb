# What jwt-exporter asks of a mount, and nothing else:
#   vault policy write jwt-exporter policy.hcl
# For another mount, its path stands here instead of auth/jwt; for several, the three blocks are repeated.

path "auth/jwt/config" {
  capabilities = ["read"]
}

path "auth/jwt/role" {
  capabilities = ["list"]
}

path "auth/jwt/role/*" {
  capabilities = ["read"]
}
