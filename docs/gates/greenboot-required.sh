#!/bin/sh
# /etc/greenboot/check/required.d/50-rollback.sh: a boot after which this fails is rolled back.
exec rollback --system /etc/rollback/rollback.yaml --state /var/lib/rollback verify smoke
