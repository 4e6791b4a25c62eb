# Without a cloud: what the module asks for, and what it refuses. tests/terraform runs it with azurerm's schema.
mock_provider "azurerm" {
  mock_data "azurerm_client_config" {
    defaults = { subscription_id = "00000000-0000-0000-0000-000000000000", object_id = "00000000-0000-0000-0000-000000000001" }
  }
  mock_resource "azurerm_storage_account" {
    defaults = { primary_blob_endpoint = "https://rastest.blob.core.windows.net/" }
  }
}

variables {
  location       = "westeurope"
  name           = "rastest"
  campaign       = "c-1"
  owner          = "somebody@office"
  launch_token   = "token-0001"
  expires_at     = timeadd(timestamp(), "4h")
  workers        = 2
  max_workers    = 4
  subnet_id      = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/n/subnets/workers"
  ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILySjoNGuzjmwR2Q9Ol7nPY/nEcLeD4nyxebFWY/GaUY test"
}

run "linux" {
  override_data {
    target = data.azurerm_virtual_machine_scale_set.workers
    values = { instances = [
      { name = "rastest_1", private_ip_address = "10.0.0.1" },
      { name = "rastest_2", private_ip_address = "10.0.0.2" },
      { name = "rastest_3", private_ip_address = "" },
    ] }
  }

  assert {
    condition     = azurerm_orchestrated_virtual_machine_scale_set.workers.priority == "Spot" && azurerm_orchestrated_virtual_machine_scale_set.workers.eviction_policy == "Delete"
    error_message = "Spot machines, which are gone when they are taken."
  }
  assert {
    condition     = length(azurerm_orchestrated_virtual_machine_scale_set.workers.network_interface[0].ip_configuration[0].public_ip_address) == 0
    error_message = "No public address unless asked for."
  }
  assert {
    condition     = length(azurerm_network_security_rule.controllers) == 0 && azurerm_network_security_rule.nothing_else["Inbound"].access == "Deny"
    error_message = "Nobody gets in unless named."
  }
  assert {
    condition     = strcontains(base64decode(azurerm_orchestrated_virtual_machine_scale_set.workers.os_profile[0].custom_data), var.expires_at) && strcontains(base64decode(azurerm_orchestrated_virtual_machine_scale_set.workers.os_profile[0].custom_data), "-ge 900 ]")
    error_message = "Machines know when they end, at their expiry and when idle."
  }
  assert {
    condition     = azurerm_orchestrated_virtual_machine_scale_set.workers.os_profile[0].linux_configuration[0].disable_password_authentication
    error_message = "Nobody logs on with a password."
  }
  assert {
    condition = (
      !azurerm_storage_account.staging.allow_nested_items_to_be_public && !azurerm_storage_account.staging.shared_access_key_enabled
      && azurerm_storage_account.staging.network_rules[0].default_action == "Deny" && azurerm_storage_account.staging.min_tls_version == "TLS1_2"
    )
    error_message = "The staging account is private."
  }
  assert {
    condition     = azurerm_storage_management_policy.staging.rule[0].actions[0].base_blob[0].delete_after_days_since_modification_greater_than == 7
    error_message = "The staging account empties itself."
  }
  assert {
    condition     = length(azurerm_storage_account.staging.name) <= 24 && can(regex("^[a-z0-9]+$", azurerm_storage_account.staging.name))
    error_message = "A name that Azure takes."
  }
  assert {
    condition = alltrue([for tags in [
      azurerm_resource_group.workers.tags, azurerm_storage_account.staging.tags, azurerm_user_assigned_identity.worker.tags,
      azurerm_network_security_group.workers.tags,
      { for name, value in azurerm_orchestrated_virtual_machine_scale_set.workers.tags : name => value if name != "ras-runner-docker-image" },
      azurerm_monitor_autoscale_setting.expiry.tags,
    ] : tomap(tags) == tomap(output.tags)])
    error_message = "Everything that can have tags has ours."
  }
  assert {
    condition     = azurerm_role_definition.end_itself.permissions[0].actions == tolist(["Microsoft.Compute/virtualMachines/delete"])
    error_message = "A machine may end, and nothing else."
  }
  assert {
    condition     = azurerm_monitor_autoscale_setting.expiry.profile[0].capacity[0].maximum == 0 && azurerm_monitor_autoscale_setting.expiry.profile[1].fixed_date[0].end == var.expires_at
    error_message = "The group goes to 0 at the expiry."
  }
  assert {
    condition     = keys(output.workers) == ["rastest_1", "rastest_2"] && output.workers["rastest_2"].parameters.docker_host == "ssh://ras@10.0.0.2"
    error_message = "Each machine that has an address, with its own."
  }
}

run "windows" {
  variables {
    worker_system    = "windows"
    windows_password = "not a real password"
    access_cidrs     = ["203.0.113.7/32", "2001:db8::/64"]
  }

  assert {
    condition     = strcontains(base64decode(azurerm_orchestrated_virtual_machine_scale_set.workers.os_profile[0].custom_data), var.expires_at)
    error_message = "Windows machines know when they end."
  }
  assert {
    condition     = strcontains(jsonencode([for extension in azurerm_orchestrated_virtual_machine_scale_set.workers.extension : extension.settings]), "CustomData.bin")
    error_message = "Windows runs what it is given."
  }
  assert {
    condition     = [for rule in azurerm_network_security_rule.controllers : rule.destination_port_range] == ["5986", "5986"]
    error_message = "WinRM over HTTPS and nothing else."
  }
  assert {
    condition     = toset(azurerm_storage_account.staging.network_rules[0].ip_rules) == toset(["203.0.113.7"])
    error_message = "Single addresses as Azure takes them."
  }
}

run "full_price" {
  command = plan

  variables {
    on_demand_percentage = 100
  }

  assert {
    condition     = azurerm_orchestrated_virtual_machine_scale_set.workers.priority == "Regular" && length(azurerm_orchestrated_virtual_machine_scale_set.workers.priority_mix) == 0
    error_message = "No spot machines when all are bought at the full price."
  }
}

run "everybody_when_said_in_so_many_words" {
  command = plan

  variables {
    access_cidrs               = ["0.0.0.0/0"]
    allow_access_from_anywhere = true
  }
}

run "refuses_everybody" {
  command = plan

  variables {
    access_cidrs = ["0.0.0.0/0"]
  }
  expect_failures = [azurerm_network_security_group.workers]
}

run "refuses_half_of_everybody" {
  command = plan

  variables {
    access_cidrs = ["128.0.0.0/1"]
  }
  expect_failures = [azurerm_network_security_group.workers]
}

run "refuses_an_expiry_that_is_over" {
  command = plan

  variables {
    expires_at = "2020-01-01T00:00:00Z"
  }
  expect_failures = [azurerm_orchestrated_virtual_machine_scale_set.workers]
}

run "refuses_an_expiry_too_far_away" {
  command = plan

  variables {
    expires_at = timeadd(timestamp(), "100h")
  }
  expect_failures = [azurerm_orchestrated_virtual_machine_scale_set.workers]
}

run "refuses_more_than_the_most" {
  command = plan

  variables {
    workers = 5
  }
  expect_failures = [azurerm_orchestrated_virtual_machine_scale_set.workers]
}

run "refuses_windows_without_a_password" {
  command = plan

  variables {
    worker_system = "windows"
  }
  expect_failures = [azurerm_orchestrated_virtual_machine_scale_set.workers]
}

run "refuses_bad_variables" {
  command = plan

  variables {
    name                 = "Ras Test"
    campaign             = "../other"
    owner                = "me; rm"
    launch_token         = "short"
    expires_at           = "tomorrow"
    max_hours            = 0
    idle_minutes         = 1
    workers              = 501
    max_workers          = 0
    worker_system        = "macos"
    vm_sizes             = ["Standard_D8ps_v5"]
    on_demand_base       = -1
    on_demand_percentage = 101
    machine_image        = "ubuntu"
    disk_gib             = 8
    location             = "West Europe"
    zones                = ["a"]
    windows_password     = "short"
    subnet_id            = "default"
    access_cidrs         = ["203.0.113.7/24"]
    ssh_public_key       = "-----BEGIN OPENSSH PRIVATE KEY-----"
    docker_image         = "ras'; reboot"
    docker_image_archive = "ras'; reboot"
    cores_per_plan       = 0
    queue_priority       = 10
    staging_days         = 0
  }
  expect_failures = [
    var.name, var.campaign, var.owner, var.launch_token, var.expires_at, var.max_hours, var.idle_minutes, var.workers,
    var.max_workers, var.worker_system, var.vm_sizes, var.on_demand_base, var.on_demand_percentage,
    var.machine_image, var.disk_gib, var.location, var.zones, var.windows_password, var.subnet_id, var.access_cidrs, var.ssh_public_key,
    var.docker_image, var.docker_image_archive, var.cores_per_plan, var.queue_priority, var.staging_days,
  ]
}
