# Machines end themselves at their expiry; this ends those that could not. Until then the number is the controller's
# business, up to max_workers.
resource "azurerm_monitor_autoscale_setting" "expiry" {
  name                = "${var.name}-expiry"
  resource_group_name = azurerm_resource_group.workers.name
  location            = var.location
  target_resource_id  = azurerm_orchestrated_virtual_machine_scale_set.workers.id
  tags                = local.tags

  profile {
    name = "afterwards"

    capacity {
      minimum = 0
      maximum = 0
      default = 0
    }
  }
  profile {
    name = "until-expiry"

    capacity {
      minimum = 0
      maximum = var.max_workers
      default = 0
    }
    fixed_date {
      # any time that is over does: this one is the same in each plan
      start    = timeadd(var.expires_at, "-${var.max_hours + 1}h")
      end      = var.expires_at
      timezone = "UTC"
    }
  }
}
