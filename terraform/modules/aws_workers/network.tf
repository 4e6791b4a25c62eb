locals {
  # whole provinces of the internet count as everybody too
  world = [for cidr in var.access_cidrs : cidr if tonumber(split("/", cidr)[1]) < (strcontains(cidr, ":") ? 20 : 8)]
  # SSH, on Windows WinRM over HTTPS
  port = local.linux ? 22 : 5986
}

resource "aws_security_group" "workers" {
  name_prefix = "${var.name}-"
  description = "ras-runner workers: only the controllers get in"
  vpc_id      = var.vpc_id
  tags        = local.tags

  lifecycle {
    create_before_destroy = true

    precondition {
      condition     = length(local.world) == 0 || var.allow_access_from_anywhere
      error_message = "access_cidrs holds ${join(", ", local.world)}, which is everybody: name the controllers' addresses, or say allow_access_from_anywhere."
    }
  }
}

resource "aws_vpc_security_group_ingress_rule" "controllers" {
  for_each = toset(var.access_cidrs)

  security_group_id = aws_security_group.workers.id
  description       = "a controller"
  cidr_ipv4         = strcontains(each.value, ":") ? null : each.value
  cidr_ipv6         = strcontains(each.value, ":") ? each.value : null
  from_port         = local.port
  to_port           = local.port
  ip_protocol       = "tcp"
  tags              = local.tags
}

# packages, the staging bucket and the cloud's own API; plans themselves have no network
resource "aws_vpc_security_group_egress_rule" "https" {
  security_group_id = aws_security_group.workers.id
  description       = "packages and the staging bucket"
  cidr_ipv4         = "0.0.0.0/0"
  from_port         = 443
  to_port           = 443
  ip_protocol       = "tcp"
  tags              = local.tags
}
