# Without a cloud: what the module asks for, and what it refuses. `terraform init && terraform test`.
mock_provider "aws" {
  mock_data "aws_ami" {
    defaults = { architecture = "x86_64", root_device_name = "/dev/xvda" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\": \"2012-10-17\", \"Statement\": []}" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "us-east-1" }
  }
  mock_data "aws_ssm_parameter" {
    defaults = { value = "ami-0123456789abcdef0" }
  }
  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::123456789012:instance-profile/ras" }
  }
  mock_resource "aws_iam_role" {
    defaults = { unique_id = "AROAEXAMPLE" }
  }
  mock_resource "aws_launch_template" {
    defaults = { id = "lt-0123456789abcdef0", latest_version = 1 }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::ras-staging", bucket = "ras-staging" }
  }
  mock_resource "aws_security_group" {
    defaults = { id = "sg-0123456789abcdef0" }
  }
}

variables {
  name           = "rastest"
  campaign       = "c-1"
  owner          = "somebody@office"
  launch_token   = "token-0001"
  expires_at     = timeadd(timestamp(), "4h")
  workers        = 2
  max_workers    = 4
  vpc_id         = "vpc-0123456789abcdef0"
  subnet_ids     = ["subnet-0123456789abcdef0"]
  ssh_public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILySjoNGuzjmwR2Q9Ol7nPY/nEcLeD4nyxebFWY/GaUY test"
}

run "linux" {
  override_data {
    target = data.aws_instances.workers
    values = { ids = ["i-1", "i-2"], private_ips = ["10.0.0.1", "10.0.0.2"] }
  }

  assert {
    condition     = aws_launch_template.worker.metadata_options[0].http_tokens == "required" && aws_launch_template.worker.metadata_options[0].http_put_response_hop_limit == 1
    error_message = "The metadata service answers only to version 2, and not to containers."
  }
  assert {
    condition     = aws_launch_template.worker.block_device_mappings[0].ebs[0].encrypted == "true" && aws_launch_template.worker.block_device_mappings[0].ebs[0].volume_type == "gp3"
    error_message = "Disks are encrypted gp3."
  }
  assert {
    condition     = aws_launch_template.worker.block_device_mappings[0].device_name == "/dev/xvda"
    error_message = "The disk is the image's root disk."
  }
  assert {
    condition     = aws_launch_template.worker.network_interfaces[0].associate_public_ip_address == "false"
    error_message = "No public address unless asked for."
  }
  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.controllers) == 0
    error_message = "Nobody gets in unless named."
  }
  assert {
    condition     = strcontains(base64decode(aws_launch_template.worker.user_data), var.expires_at) && strcontains(base64decode(aws_launch_template.worker.user_data), "-ge 900 ]")
    error_message = "Machines know when they end, at their expiry and when idle."
  }
  assert {
    condition     = aws_launch_template.worker.instance_initiated_shutdown_behavior == "terminate"
    error_message = "A machine that shuts down is gone, not only stopped."
  }
  assert {
    condition     = aws_autoscaling_schedule.expiry.start_time == var.expires_at && aws_autoscaling_schedule.expiry.desired_capacity == 0
    error_message = "The group goes to 0 at the expiry."
  }
  assert {
    condition     = aws_autoscaling_group.workers.min_size == 0 && contains(aws_autoscaling_group.workers.suspended_processes, "AZRebalance") && !aws_autoscaling_group.workers.capacity_rebalance
    error_message = "A machine can leave the group, and nothing else ends one in the middle of a plan."
  }
  assert {
    condition     = output.workers["i-2"].parameters.docker_host == "ssh://ras@10.0.0.2"
    error_message = "Each machine with its own address."
  }
  assert {
    condition     = output.host_key_prefix == "campaigns/c-1/hosts/AROAEXAMPLE:"
    error_message = "Host keys are where only their machine can write."
  }
  assert {
    condition     = length(aws_key_pair.controller) == 0
    error_message = "Linux needs no key pair."
  }
}

run "windows" {
  variables {
    worker_system  = "windows"
    ssh_public_key = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDSiDxMVTaWDL test"
    access_cidrs   = ["203.0.113.7/32"]
  }

  assert {
    condition     = startswith(base64decode(aws_launch_template.worker.user_data), "<powershell>") && strcontains(base64decode(aws_launch_template.worker.user_data), var.expires_at)
    error_message = "Windows machines know when they end."
  }
  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.controllers : rule.from_port] == [5986]
    error_message = "WinRM over HTTPS and nothing else."
  }
  assert {
    condition     = aws_launch_template.worker.key_name == aws_key_pair.controller[0].key_name
    error_message = "The first password is encrypted with the controller's key."
  }
}

run "doors_for_both_families" {
  command = plan

  variables {
    access_cidrs = ["203.0.113.7/32", "2001:db8::/64"]
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.controllers["203.0.113.7/32"].cidr_ipv4 == "203.0.113.7/32" && aws_vpc_security_group_ingress_rule.controllers["2001:db8::/64"].cidr_ipv6 == "2001:db8::/64"
    error_message = "IPv4 and IPv6 networks each in their own field."
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
  expect_failures = [aws_security_group.workers]
}

run "refuses_half_of_everybody" {
  command = plan

  variables {
    access_cidrs = ["128.0.0.0/1"]
  }
  expect_failures = [aws_security_group.workers]
}

run "refuses_an_expiry_that_is_over" {
  command = plan

  variables {
    expires_at = "2020-01-01T00:00:00Z"
  }
  expect_failures = [aws_autoscaling_group.workers]
}

run "refuses_an_expiry_too_far_away" {
  command = plan

  variables {
    expires_at = timeadd(timestamp(), "100h")
  }
  expect_failures = [aws_autoscaling_group.workers]
}

run "refuses_more_than_the_most" {
  command = plan

  variables {
    workers = 5
  }
  expect_failures = [aws_autoscaling_group.workers]
}

run "refuses_another_processor" {
  command = plan

  override_data {
    target = data.aws_ami.machine_image
    values = { architecture = "arm64" }
  }
  expect_failures = [data.aws_ami.machine_image]
}

run "refuses_a_key_that_windows_cannot_use" {
  command = plan

  variables {
    worker_system = "windows"
  }
  expect_failures = [aws_key_pair.controller]
}

run "refuses_an_address_that_is_not_there_yet" {
  variables {
    public_ip = true
  }
  override_data {
    target = data.aws_instances.workers
    values = { ids = ["i-1", "i-2"], public_ips = ["198.51.100.1"] }
  }
  expect_failures = [data.aws_instances.workers]
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
    instance_types       = ["c7g.2xlarge"]
    on_demand_base       = -1
    on_demand_percentage = 101
    machine_image        = "ubuntu"
    disk_gib             = 8
    vpc_id               = "default"
    subnet_ids           = []
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
    var.max_workers, var.worker_system, var.instance_types, var.on_demand_base, var.on_demand_percentage,
    var.machine_image, var.disk_gib, var.vpc_id, var.subnet_ids, var.access_cidrs, var.ssh_public_key,
    var.docker_image, var.docker_image_archive, var.cores_per_plan, var.queue_priority, var.staging_days,
  ]
}
