"""Makes ``twistd ngpu`` a command; imports nothing of ours, so that listing twistd's commands stays cheap."""

from twisted.application.service import ServiceMaker

ngpu = ServiceMaker("ngpu", "ngpu.tap", "A reverse proxy for fleets of GPU machines", "ngpu")
