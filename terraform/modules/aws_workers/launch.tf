data "aws_ssm_parameter" "machine_image" {
  count = var.machine_image == "" ? 1 : 0
  name = (
    local.linux ? "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
    : "/aws/service/ami-windows-latest/Windows_Server-2022-English-Full-Base"
  )
}

# the name of its root disk: a disk of any other name would be one more, and the root disk stay as it is
data "aws_ami" "machine_image" {
  include_deprecated = true

  filter {
    name   = "image-id"
    values = [local.machine_image]
  }

  lifecycle {
    postcondition {
      condition     = self.architecture == "x86_64"
      error_message = "${local.machine_image} is for ${self.architecture}; HEC-RAS runs on x86_64 only."
    }
  }
}

locals {
  # the parameter's value is public: without nonsensitive() the plan would hide which image is used
  machine_image = var.machine_image != "" ? var.machine_image : nonsensitive(data.aws_ssm_parameter.machine_image[0].value)
  worker_folder = local.linux ? "/var/lib/ras-runner/worker" : "C:\\RasRemote"
  hosts         = "campaigns/${var.campaign}/hosts"

  user_data = local.linux ? templatefile("${path.module}/templates/worker.yaml.tftpl", {
    ssh_public_key = trimspace(var.ssh_public_key)
    worker_folder  = local.worker_folder
    load_image = templatefile("${path.module}/templates/load-image.sh.tftpl", {
      bucket  = aws_s3_bucket.staging.bucket
      hosts   = local.hosts
      archive = var.docker_image_archive
      image   = var.docker_image
      region  = data.aws_region.this.name
    })
    end_worker = templatefile("${path.module}/templates/end-worker.sh.tftpl", {
      expires       = var.expires_at
      idle_seconds  = var.idle_minutes * 60
      region        = data.aws_region.this.name
      worker_folder = local.worker_folder
    })
    tell_notice = templatefile("${path.module}/templates/tell-notice.sh.tftpl", {
      worker_folder = local.worker_folder
    })
    }) : templatefile("${path.module}/templates/worker.ps1.tftpl", {
    bucket        = aws_s3_bucket.staging.bucket
    hosts         = local.hosts
    expires       = var.expires_at
    idle_minutes  = var.idle_minutes
    region        = data.aws_region.this.name
    worker_folder = local.worker_folder
  })
}

# Windows encrypts the administrator's first password with it; on Linux the key comes with the user data.
resource "aws_key_pair" "controller" {
  count           = local.linux ? 0 : 1
  key_name_prefix = "${var.name}-"
  public_key      = trimspace(var.ssh_public_key)
  tags            = local.tags

  lifecycle {
    precondition {
      condition     = startswith(var.ssh_public_key, "ssh-rsa ")
      error_message = "Windows machines take an RSA key only (ssh-keygen -t rsa -b 4096 -m PEM): their first password is encrypted with it."
    }
  }
}

resource "aws_launch_template" "worker" {
  name_prefix                          = "${var.name}-"
  description                          = "ras-runner worker of campaign ${var.campaign}"
  image_id                             = local.machine_image
  instance_type                        = var.instance_types[0]
  key_name                             = one(aws_key_pair.controller[*].key_name)
  update_default_version               = true
  instance_initiated_shutdown_behavior = "terminate"
  ebs_optimized                        = true
  user_data                            = base64encode(local.user_data)
  tags                                 = local.tags

  iam_instance_profile {
    arn = aws_iam_instance_profile.worker.arn
  }

  # version 2 of the metadata service alone, and not from within containers
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  network_interfaces {
    associate_public_ip_address = var.public_ip
    security_groups             = [aws_security_group.workers.id]
    delete_on_termination       = true
  }

  block_device_mappings {
    device_name = data.aws_ami.machine_image.root_device_name

    ebs {
      volume_size           = var.disk_gib
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }

  dynamic "tag_specifications" {
    for_each = ["instance", "volume", "network-interface"]

    content {
      resource_type = tag_specifications.value
      tags          = local.machine_tags
    }
  }
}
