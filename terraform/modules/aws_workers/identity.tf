# A machine may read the image, write down its own identity, and end itself. Nothing else.
data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

locals {
  group_arn = join(":", [
    "arn", data.aws_partition.this.partition, "autoscaling", data.aws_region.this.name,
    data.aws_caller_identity.this.account_id, "autoScalingGroup", "*", "autoScalingGroupName/${var.name}",
  ])
}

data "aws_iam_policy_document" "worker" {
  statement {
    sid       = "ReadTheImage"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.staging.arn}/${var.docker_image_archive}"]
  }
  # aws:userid of a machine is ROLE:INSTANCE: no machine can speak for another one
  statement {
    sid       = "SayWhoItIs"
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.staging.arn}/campaigns/${var.campaign}/hosts/&{aws:userid}.pub"]
  }
  statement {
    sid       = "EndItself"
    actions   = ["autoscaling:TerminateInstanceInAutoScalingGroup"]
    resources = [local.group_arn]
  }
}

resource "aws_iam_role" "worker" {
  name_prefix        = "${var.name}-"
  description        = "ras-runner worker of campaign ${var.campaign}"
  assume_role_policy = data.aws_iam_policy_document.assume.json
  tags               = local.tags
}

resource "aws_iam_role_policy" "worker" {
  name_prefix = "${var.name}-"
  role        = aws_iam_role.worker.id
  policy      = data.aws_iam_policy_document.worker.json
}

resource "aws_iam_instance_profile" "worker" {
  name_prefix = "${var.name}-"
  role        = aws_iam_role.worker.name
  tags        = local.tags
}
