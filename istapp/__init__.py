r"""`istapp`: image compressive sensing, from ISTA to ISTA-Net++.

One sentence carries the package: measurements :math:`y` and operator :math:`\Phi` in, image out.

    x, crop = pad(image)                           # (B, 1, 33h, 33w)
    sampling = BlockSampling(ratio=0.1, seed=0)    # Phi: 109 x 1089, orthonormal rows
    y = sampling.A(x)                              # (B, 109, h, w)
    estimate = crop(method(y, sampling))           # method: ISTA, ISTA-Net++, ...
"""

__version__ = "0.1.0"
