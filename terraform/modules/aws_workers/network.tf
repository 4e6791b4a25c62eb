locals {
  world = [for cidr in var.access_cidrs : cidr if contains(["0.0.0.0/0", "::/0"], cidr)]
  # SSH, and on Windows WinRM over HTTPS as well
  ports = local.linux ? [22] : [22, 5986]
  doors = { for pair in setproduct(var.access_cidrs, local.ports) : "${pair[0]} ${pair[1]}" => { cidr = pair[0], port = pair[1] } }
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
  for_each = local.doors

  security_group_id = aws_security_group.workers.id
  description       = "a controller"
  cidr_ipv4         = each.value.cidr
  from_port         = each.value.port
  to_port           = each.value.port
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
