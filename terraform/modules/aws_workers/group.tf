resource "aws_autoscaling_group" "workers" {
  name                      = var.name
  min_size                  = 0
  max_size                  = var.max_workers
  desired_capacity          = var.workers # null, as on_demand_base below: what the controller has made of it stays
  vpc_zone_identifier       = var.subnet_ids
  health_check_type         = "EC2"
  wait_for_capacity_timeout = "15m"
  # a machine that runs plans is protected by the controller, not from its birth
  protect_from_scale_in = false
  # Both would end machines in the middle of plans: one for the sake of even zones, the other on a mere risk of being
  # taken. A spot machine that is really taken is replaced, and its plan is queued again.
  suspended_processes = ["AZRebalance"]
  capacity_rebalance  = false

  mixed_instances_policy {
    instances_distribution {
      on_demand_base_capacity                  = var.on_demand_base
      on_demand_percentage_above_base_capacity = var.on_demand_percentage
      spot_allocation_strategy                 = "price-capacity-optimized"
    }

    launch_template {
      launch_template_specification {
        launch_template_id = aws_launch_template.worker.id
        version            = aws_launch_template.worker.latest_version
      }

      dynamic "override" {
        for_each = var.instance_types

        content {
          instance_type = override.value
        }
      }
    }
  }

  dynamic "tag" {
    for_each = local.machine_tags

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }

  # no machine before it may end itself, and has a way out to say so; on the way down these go last
  depends_on = [
    aws_iam_role_policy.worker,
    aws_s3_bucket_policy.staging,
    aws_s3_bucket_public_access_block.staging,
    aws_vpc_security_group_egress_rule.https,
  ]

  lifecycle {
    precondition {
      condition     = coalesce(var.workers, 0) <= var.max_workers
      error_message = "workers (${coalesce(var.workers, 0)}) is more than max_workers (${var.max_workers})."
    }
    precondition {
      condition     = timecmp(var.expires_at, plantimestamp()) > 0
      error_message = "expires_at (${var.expires_at}) is over."
    }
    precondition {
      condition     = timecmp(var.expires_at, timeadd(plantimestamp(), "${var.max_hours}h")) <= 0
      error_message = "expires_at (${var.expires_at}) is more than max_hours (${var.max_hours}) from now."
    }
  }
}

# Machines end themselves at their expiry; this keeps the group from replacing them, and ends those that could not,
# unless the controller protects them.
resource "aws_autoscaling_schedule" "expiry" {
  scheduled_action_name  = "expiry"
  autoscaling_group_name = aws_autoscaling_group.workers.name
  min_size               = 0
  max_size               = 0
  desired_capacity       = 0
  start_time             = var.expires_at
}

# The machines that are there once the group has its capacity; those that come later are found by their tags.
data "aws_instances" "workers" {
  instance_state_names = ["pending", "running"]

  filter {
    name   = "tag:aws:autoscaling:groupName"
    values = [aws_autoscaling_group.workers.name]
  }

  depends_on = [aws_autoscaling_group.workers]

  lifecycle {
    # the lists of addresses leave out machines that have none: then address and machine would not belong together
    postcondition {
      condition     = length(var.public_ip ? self.public_ips : self.private_ips) == length(self.ids)
      error_message = "A machine of ${var.name} has no address yet: apply again."
    }
  }
}
