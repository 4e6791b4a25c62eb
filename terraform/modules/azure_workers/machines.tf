locals {
  worker_folder = local.linux ? "/var/lib/ras-runner/worker" : "C:\\RasRemote"
  spot          = var.on_demand_percentage < 100
  image = local.linux ? {
    publisher = "Canonical", offer = "ubuntu-24_04-lts", sku = "server"
  } : { publisher = "MicrosoftWindowsServer", offer = "WindowsServer", sku = "2022-datacenter-g2" }

  custom_data = local.linux ? templatefile("${path.module}/templates/worker.yaml.tftpl", {
    ssh_public_key = trimspace(var.ssh_public_key)
    worker_folder  = local.worker_folder
    load_image = templatefile("${path.module}/templates/load-image.sh.tftpl", {
      endpoint = azurerm_storage_account.staging.primary_blob_endpoint
      archive  = var.docker_image_archive
      image    = var.docker_image
    })
    end_worker = templatefile("${path.module}/templates/end-worker.sh.tftpl", {
      expires       = var.expires_at
      idle_seconds  = var.idle_minutes * 60
      worker_folder = local.worker_folder
    })
    tell_notice = templatefile("${path.module}/templates/tell-notice.sh.tftpl", {
      worker_folder = local.worker_folder
    })
    }) : templatefile("${path.module}/templates/worker.ps1.tftpl", {
    endpoint      = azurerm_storage_account.staging.primary_blob_endpoint
    expires       = var.expires_at
    idle_minutes  = var.idle_minutes
    worker_folder = local.worker_folder
  })
}

# Flexible: its machines are virtual machines like any other, which may delete themselves.
resource "azurerm_orchestrated_virtual_machine_scale_set" "workers" {
  name                        = var.name
  resource_group_name         = azurerm_resource_group.workers.name
  location                    = var.location
  platform_fault_domain_count = 1
  zones                       = var.zones
  instances                   = var.workers
  sku_name                    = "Mix"
  priority                    = local.spot ? "Spot" : "Regular"
  eviction_policy             = local.spot ? "Delete" : null
  encryption_at_host_enabled  = var.encryption_at_host
  source_image_id             = var.machine_image == "" ? null : var.machine_image
  tags                        = local.machine_tags

  sku_profile {
    allocation_strategy = "CapacityOptimized"
    vm_sizes            = var.vm_sizes
  }

  dynamic "priority_mix" {
    for_each = local.spot ? [1] : []

    content {
      base_regular_count            = var.on_demand_base
      regular_percentage_above_base = var.on_demand_percentage
    }
  }

  dynamic "source_image_reference" {
    for_each = var.machine_image == "" ? [local.image] : []

    content {
      publisher = source_image_reference.value.publisher
      offer     = source_image_reference.value.offer
      sku       = source_image_reference.value.sku
      version   = "latest"
    }
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.worker.id]
  }

  network_interface {
    name                      = "worker"
    primary                   = true
    network_security_group_id = azurerm_network_security_group.workers.id

    ip_configuration {
      name      = "worker"
      primary   = true
      subnet_id = var.subnet_id

      dynamic "public_ip_address" {
        for_each = var.public_ip ? [1] : []

        content {
          name     = "worker"
          sku_name = "Standard_Regional"
        }
      }
    }
  }

  # encrypted with Azure's own keys, as all managed disks are
  os_disk {
    caching              = "ReadWrite"
    storage_account_type = "Premium_LRS"
    disk_size_gb         = var.disk_gib
  }

  os_profile {
    custom_data = base64encode(local.custom_data)

    dynamic "linux_configuration" {
      for_each = local.linux ? [1] : []

      content {
        admin_username                  = "ras"
        disable_password_authentication = true

        admin_ssh_key {
          username   = "ras"
          public_key = trimspace(var.ssh_public_key)
        }
      }
    }
    dynamic "windows_configuration" {
      for_each = local.linux ? [] : [1]

      content {
        admin_username       = "ras"
        admin_password       = var.windows_password
        computer_name_prefix = substr(var.name, 0, 9)
      }
    }
  }

  # Windows only stores its custom data: this runs it
  dynamic "extension" {
    for_each = local.linux ? [] : [1]

    content {
      name                               = "first-boot"
      publisher                          = "Microsoft.Compute"
      type                               = "CustomScriptExtension"
      type_handler_version               = "1.10"
      auto_upgrade_minor_version_enabled = true
      settings = jsonencode({
        commandToExecute = "powershell -NoProfile -ExecutionPolicy Bypass -Command \"Copy-Item C:\\AzureData\\CustomData.bin C:\\AzureData\\worker.ps1; & C:\\AzureData\\worker.ps1\""
      })
    }
  }

  # no machine before it may end itself, and has a way out to say so; on the way down these go last
  depends_on = [
    azurerm_network_security_rule.out,
    azurerm_network_security_rule.nothing_else,
    azurerm_role_assignment.end_itself,
    azurerm_role_assignment.read_the_image,
    azurerm_role_assignment.say_who_it_is,
  ]

  lifecycle {
    precondition {
      condition     = var.workers <= var.max_workers
      error_message = "workers (${var.workers}) is more than max_workers (${var.max_workers})."
    }
    precondition {
      condition     = timecmp(var.expires_at, plantimestamp()) > 0
      error_message = "expires_at (${var.expires_at}) is over."
    }
    precondition {
      condition     = timecmp(var.expires_at, timeadd(plantimestamp(), "${var.max_hours}h")) <= 0
      error_message = "expires_at (${var.expires_at}) is more than max_hours (${var.max_hours}) from now."
    }
    precondition {
      condition     = local.linux || var.windows_password != ""
      error_message = "Windows machines need windows_password."
    }
  }
}

# The machines that are there now; those that come later are found by their tags.
data "azurerm_virtual_machine_scale_set" "workers" {
  name                = azurerm_orchestrated_virtual_machine_scale_set.workers.name
  resource_group_name = azurerm_resource_group.workers.name

  depends_on = [azurerm_orchestrated_virtual_machine_scale_set.workers]
}
