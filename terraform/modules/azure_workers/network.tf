locals {
  # whole provinces of the internet count as everybody too
  world = [for cidr in var.access_cidrs : cidr if tonumber(split("/", cidr)[1]) < (strcontains(cidr, ":") ? 20 : 8)]
  # SSH, on Windows WinRM over HTTPS
  port = local.linux ? "22" : "5986"
  # a rule takes networks of one family
  doors = { for family, cidrs in {
    ipv4 = [for cidr in var.access_cidrs : cidr if !strcontains(cidr, ":")]
    ipv6 = [for cidr in var.access_cidrs : cidr if strcontains(cidr, ":")]
  } : family => cidrs if length(cidrs) > 0 }
}

resource "azurerm_network_security_group" "workers" {
  name                = "${var.name}-workers"
  location            = var.location
  resource_group_name = azurerm_resource_group.workers.name
  tags                = local.tags

  lifecycle {
    precondition {
      condition     = length(local.world) == 0 || var.allow_access_from_anywhere
      error_message = "access_cidrs holds ${join(", ", local.world)}, which is everybody: name the controllers' addresses, or say allow_access_from_anywhere."
    }
  }
}

resource "azurerm_network_security_rule" "controllers" {
  for_each = local.doors

  name                        = "controllers-${each.key}"
  description                 = "the controllers"
  resource_group_name         = azurerm_resource_group.workers.name
  network_security_group_name = azurerm_network_security_group.workers.name
  priority                    = each.key == "ipv4" ? 100 : 110
  direction                   = "Inbound"
  access                      = "Allow"
  protocol                    = "Tcp"
  source_port_range           = "*"
  source_address_prefixes     = each.value
  destination_port_range      = local.port
  destination_address_prefix  = "*"
}

# packages, the staging account and the cloud's own API; plans themselves have no network
resource "azurerm_network_security_rule" "out" {
  name                        = "packages-and-staging"
  description                 = "packages (Ubuntu's come over HTTP, signed), the staging account, Azure's API"
  resource_group_name         = azurerm_resource_group.workers.name
  network_security_group_name = azurerm_network_security_group.workers.name
  priority                    = 100
  direction                   = "Outbound"
  access                      = "Allow"
  protocol                    = "Tcp"
  source_port_range           = "*"
  source_address_prefix       = "*"
  destination_port_ranges     = local.linux ? ["80", "443"] : ["443"]
  destination_address_prefix  = "*"
}

# Azure's own rules let the whole virtual network in, and everything out
resource "azurerm_network_security_rule" "nothing_else" {
  for_each = toset(["Inbound", "Outbound"])

  name                        = "nothing-else-${lower(each.key)}"
  description                 = "nothing else"
  resource_group_name         = azurerm_resource_group.workers.name
  network_security_group_name = azurerm_network_security_group.workers.name
  priority                    = 4096
  direction                   = each.key
  access                      = "Deny"
  protocol                    = "*"
  source_port_range           = "*"
  source_address_prefix       = "*"
  destination_port_range      = "*"
  destination_address_prefix  = "*"
}
